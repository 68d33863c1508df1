"""``python -m infra_validator.probe``: the probe, as the console script ``tfs_model_status_probe`` runs it."""

from infra_validator.probe.command import entry

if __name__ == "__main__":
    entry()
