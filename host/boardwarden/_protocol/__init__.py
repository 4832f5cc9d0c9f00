"""How host and board talk: frames, messages, the subscription, requests, the session."""
