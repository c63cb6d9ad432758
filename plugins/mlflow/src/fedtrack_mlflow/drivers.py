"""Drivers: the modules that a database in ``tracking_uri`` needs, which are in no extra of this distribution."""

from __future__ import annotations

import re
from importlib.util import find_spec

from fedtrack.errors import ConfigError
from fedtrack.plugins import remedy

#: SQLAlchemy's default driver of each database, its module and the distribution that has it.
_MODULES = {
    "postgresql": ("psycopg2", "psycopg2-binary"),
    "postgresql+psycopg2": ("psycopg2", "psycopg2-binary"),
    "postgresql+psycopg": ("psycopg", "psycopg[binary]"),
    "postgresql+pg8000": ("pg8000", "pg8000"),
    "mysql": ("MySQLdb", "mysqlclient"),
    "mysql+mysqldb": ("MySQLdb", "mysqlclient"),
    "mysql+pymysql": ("pymysql", "pymysql"),
    "mssql": ("pyodbc", "pyodbc"),
    "mssql+pyodbc": ("pyodbc", "pyodbc"),
    "mssql+pymssql": ("pymssql", "pymssql"),
}


def check(uri: str) -> None:
    """Check that the driver of a database's URI is installed; other URIs need none.

    Raises:
        ConfigError: It is not.
    """
    scheme = re.match(r"\A[a-z0-9+]+(?=://)", uri)
    module, package = _MODULES.get(scheme[0] if scheme else "", ("", ""))
    if module and find_spec(module) is None:
        raise ConfigError(
            f"MLflowReceiver: tracking_uri begins with {uri[: len(scheme[0]) if scheme else 0]!r}, and its driver "
            f"{module} is not installed; install it with: {remedy.install(package)}"
        )
