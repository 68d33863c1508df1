"""The demo pipeline with TFX's LocalDagRunner; no Docker, no Kubernetes."""
