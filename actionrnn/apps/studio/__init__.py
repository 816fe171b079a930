"""A page in which a person teaches an action: label, train, watch."""
