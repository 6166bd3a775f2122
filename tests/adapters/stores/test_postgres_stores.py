"""The same schema and the same promises on PostgreSQL, in a database of the test's own."""

import os
import secrets

import pytest
import sqlalchemy as sa

from modelwright.adapters.stores import schema
from modelwright.adapters.stores.database import open_database
from modelwright.testing.store_conformance import StoreConformance

SERVER = "postgresql+psycopg://postgres@127.0.0.1:5432"


@pytest.fixture(scope="session")
def server():
    engine = sa.create_engine(f"{SERVER}/postgres", isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": 3})
    try:
        engine.connect().close()
    except sa.exc.OperationalError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"no PostgreSQL server on 127.0.0.1:5432: {str(error.orig).splitlines()[0]}")
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def postgres_url(server):
    name = f"modelwright_test_{secrets.token_hex(6)}"
    with server.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    yield f"{SERVER}/{name}"
    with server.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


class TestPostgresStores(StoreConformance):
    @pytest.fixture
    def stores(self, postgres_url, tmp_path):
        with open_database(postgres_url, keys=tmp_path / "keys") as database:
            yield database
        engine = sa.create_engine(postgres_url)
        with engine.begin() as connection:
            schema.metadata.drop_all(connection)
            connection.exec_driver_sql(f"DROP TABLE {schema.VERSION_TABLE}")
        engine.dispose()
