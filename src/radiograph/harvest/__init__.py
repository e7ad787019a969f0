"""Floor 3: a model and texts in, rows of activations out."""

from radiograph.harvest._memory import MemoryShards, harvest
from radiograph.harvest._plan import Split, Window, windows
from radiograph.harvest._sources import Text, read, subset
from radiograph.harvest._tokens import Keep

__all__ = ["Keep", "MemoryShards", "Split", "Text", "Window", "harvest", "read", "subset", "windows"]
