"""The demo pipeline on Kubeflow Pipelines v2: compiled by TFX's runner, and as a container component by kfp's own compiler."""
