//! End-to-end tests against a real API server.
