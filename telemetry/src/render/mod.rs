//! How do traces look on a terminal? Soon.
