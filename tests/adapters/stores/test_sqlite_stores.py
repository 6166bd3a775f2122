import pytest

from modelwright.adapters.stores.database import open_database
from modelwright.testing.store_conformance import StoreConformance


class TestSqliteStores(StoreConformance):
    @pytest.fixture
    def stores(self, tmp_path):
        with open_database(f"sqlite:///{tmp_path}/home/modelwright.db", keys=tmp_path / "home" / "keys") as database:
            yield database
