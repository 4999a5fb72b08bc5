"""Which examples a model finds improbable: scores, a threshold with a stated rate of false alarms, and maps of pixels."""
