"""One client for chat endpoints of the OpenAI shape: retries, a cache, a budget, and no key in anything it keeps.

with ChatCache.open(chat_cache()) as cache:
client = ChatClient(Endpoint.at(url, model, key_env="MY_KEY"), ChatSettings(max_calls=100), cache)
batch = client.ask_all([Ask(messages, "label-1", read=labels_of), ...])

`batch.stopped` says why a batch ended early; `client.usage` what it cost.
"""

from radiograph.store.chat._asked import Answer, Ask, Batch, Failure, Later, Message, Usage, json_object
from radiograph.store.chat._cache import ChatCache, chat_cache
from radiograph.store.chat._client import ChatClient
from radiograph.store.chat._endpoint import ChatError, ChatSettings, Endpoint, Price, read_prices

__all__ = [
    "Answer",
    "Ask",
    "Batch",
    "ChatCache",
    "ChatClient",
    "ChatError",
    "ChatSettings",
    "Endpoint",
    "Failure",
    "Later",
    "Message",
    "Price",
    "Usage",
    "chat_cache",
    "json_object",
    "read_prices",
]
