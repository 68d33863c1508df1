"""The contract of TensorFlow Serving, point by point, against the embedded model server.

Tests are named after the contract's section and row (``test_3_3_row_6_...``: section 3.3, row 6).
"""
