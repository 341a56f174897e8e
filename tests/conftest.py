"""Fixtures that tests of several packages use."""

from tests.s3_bucket import bucket, endpoint

__all__ = ["bucket", "endpoint"]
