//! Reads the catalog from the database.
