"""Where sample requests come from. Each module makes an iterator of SampleRequest that reads as it is consumed.

- ``from_examples``: the files of one split of an Examples artifact (``requests_from_examples_dir``);
- ``examples_artifact``: the artifact itself, as TFX hands it over (``requests_from_examples_artifact``);
- ``from_file``: a file of JSON or a TFRecord of PredictionLog (``requests_from_file``);
- ``from_message``: a message that the caller made (``request_from_message``);
- ``prediction_log``: the reverse, a model's warm-up file (``write_warmup_file``, ``WARMUP_FILE``).
"""
