"""A page in which a person teaches an action: videos, labels, training, live."""
