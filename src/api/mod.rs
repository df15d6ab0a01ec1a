//! The contract with users: the resource, its conditions, reasons and names.
