"""What a request becomes on its way up and an answer on its way down, without sending anything."""

from nexeon.gateway.explain.service import Explainer

__all__ = ["Explainer"]
