//! The I/O around the planner: watches, queue, gate, look, perform.
