import pytest

from modelwright.testing.blobs import BlobStoreConformance, InMemoryBlobs
from modelwright.testing.store import InMemoryStores
from modelwright.testing.store_conformance import StoreConformance


class TestInMemoryStores(StoreConformance):
    @pytest.fixture
    def stores(self):
        return InMemoryStores()


class TestInMemoryBlobs(BlobStoreConformance):
    @pytest.fixture
    def blobs(self):
        return InMemoryBlobs()
