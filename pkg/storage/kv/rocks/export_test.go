package rocks

// Cached returns how many bytes are in the cache.
func (s *Store) Cached() uint64 { return s.cache.GetUsage() }
