"""The operations that TensorFlow Serving's binary has and TensorFlow's wheel has not, by the package that brings them.

Read from the packages' own libraries (tensorflow-text 2.16.1, tensorflow-decision-forests 1.9.2); which packages the binary links in is
said in its BUILD file (SUPPORTED_TENSORFLOW_OPS).
"""

from __future__ import annotations

import re

#: The extra that installs a package -> the names of its operations, or how they begin.
_OPERATIONS = {
    "text": (
        r"TFText>.*|Sentencepiece.*Op|(Fast)?Wordpiece\w*WithOffsets|FastBertNormalize|NormalizeUTF8(WithOffsetsMap)?|CaseFoldUTF8"
        r"|ConstrainedSequence|FindSourceOffsets|MaxSpanningTree|PhraseTokenize|RegexSplitWithOffsets|RougeL|SentenceFragments(V2)?"
        r"|SplitMergeTokenizeWithOffsets|TokenizerFromLogits|UnicodeScriptTokenizeWithOffsets|WhitespaceTokenizeWithOffsets"
    ),
    "decision_forests": r"SimpleML(CreateModelResource|Inference\w*|LoadModelFromPath(WithHandle)?)",
}


def extra_with(operation: str) -> str:
    """The extra of this package that brings ``operation``; empty where the real binary has it no more than TensorFlow."""
    return next((extra for extra, names in _OPERATIONS.items() if re.fullmatch(names, operation)), "")
