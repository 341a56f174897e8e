"""API tokens and the request types of views; users are Django's."""
