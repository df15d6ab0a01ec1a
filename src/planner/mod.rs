//! Decides what to do. Pure: no async, no clock, no randomness, no I/O, no logging.
