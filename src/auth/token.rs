//! Our own tokens (contract, section 6.2): HS256, keyed by the record's token key and the collection's secret.
