"""Kubeflow pipelines made of Arkloom's stages, and the client that runs them."""
