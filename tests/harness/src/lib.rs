//! A real Kubernetes control plane, and what the end-to-end tests and the demo need around it.
