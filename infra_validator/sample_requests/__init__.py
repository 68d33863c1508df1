"""Where sample requests come from. What makes them is an iterator that reads as it is consumed.

- ``request_source``: which source it is: a file, an Examples artifact, made up (``chosen_source``);
- ``from_message``: a message that the caller made (``request_from_message``);
- ``files``: JSON, .npz, TFRecords (``requests_from_file``), and the reverse, a warm-up file (``write_warmup_file``);
- ``examples``: an Examples artifact's records, whose features become named inputs;
- ``generated``: requests made up from a signature;
- ``questions``: what a request asks before it is a message: joined to batches, written for gRPC and REST;
- ``records``: TFRecord files.
"""
