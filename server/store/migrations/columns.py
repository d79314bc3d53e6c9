"""Columns as the steps write them: never NULL."""

from typing import Any

import sqlalchemy as sa


def text(name: str, **more: Any) -> sa.Column[str]:
    return sa.Column(name, sa.String(), nullable=False, **more)


def number(name: str, **more: Any) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=False, **more)


def flag(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean(), nullable=False)


def real(name: str, **more: Any) -> sa.Column[float]:
    return sa.Column(name, sa.Float(), nullable=False, **more)
