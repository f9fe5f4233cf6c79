"""What providers, retrievers and tools return, read into one form by the shape of the objects.

No provider library is imported: they are optional, and their objects tell by their fields.
"""

from firedoor.extraction.parameters import parameters
from firedoor.extraction.registry import Extractor, Extractors
from firedoor.extraction.rewrite import lane_of, map_texts, replace_text, text_of
from firedoor.extraction.stream import StreamReader
from firedoor.extraction.usage import tokens_at_least
from firedoor.types import Extract

__all__ = [
    "Extract",
    "Extractor",
    "Extractors",
    "StreamReader",
    "lane_of",
    "map_texts",
    "parameters",
    "replace_text",
    "text_of",
    "tokens_at_least",
]
