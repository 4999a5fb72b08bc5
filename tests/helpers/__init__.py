"""What tests of one subject in several files build their models and draws with."""
