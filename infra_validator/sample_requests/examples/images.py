"""Encoded images (PNG, JPEG and what else Pillow reads) to the numbers of their pixels."""

from __future__ import annotations

import dataclasses
import importlib
import io
from typing import Any

from infra_validator.core.errors import InfrastructureError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.sample_requests.questions.values import ValueMisfit

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


@dataclasses.dataclass(frozen=True)
class Image:
    """The pixels of an image.

    Attributes:
      shape: (height, width, channels).
      values: the channels of each pixel from 0 to 255, row after row.
    """

    shape: tuple[int, int, int]
    values: bytes


def decoded_image(encoded: bytes, channels: int | None) -> Image:
    """The image in ``encoded``.

    Args:
      channels: 1, 3 or 4; None for those it has.

    Raises:
      ValueMisfit: it is no image that can be read.
      InfrastructureError: Pillow is not installed.
    """
    try:
        pillow: Any = importlib.import_module("PIL.Image")
    except ImportError as error:
        raise InfrastructureError(
            ReasonCode.PLATFORM_NOT_INSTALLED,
            "request_spec.images needs the package Pillow.",
            next_step="pip install 'infra-validator[images]'",
        ) from error
    try:
        with pillow.open(io.BytesIO(encoded)) as opened:
            mode = _MODES.get(channels or len(opened.getbands()), "RGB")
            image = opened.convert(mode)
            return Image((image.height, image.width, len(image.getbands())), image.tobytes())
    except (OSError, ValueError, SyntaxError, pillow.DecompressionBombError) as error:
        raise ValueMisfit("it is no image that can be decoded") from error
