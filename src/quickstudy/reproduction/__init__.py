"""Published tables beside ours: `quickstudy reproduce STUDY`."""

from quickstudy.reproduction.page import page
from quickstudy.reproduction.published import STUDIES
from quickstudy.reproduction.run import reproduce

__all__ = ["STUDIES", "page", "reproduce"]
