"""The Kubernetes side: one Job a node of a chain (extra ``orchestrate``)."""
