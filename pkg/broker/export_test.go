package broker

// Blind keeps the guard from looking at the disk and the server until see is called.
func (s *Server) Blind() (see func()) {
	s.guard.mu.Lock()
	return s.guard.mu.Unlock
}

// Restarts is how often the server was started again after it had failed to write.
func (s *Server) Restarts() uint64 {
	s.guard.mu.Lock()
	defer s.guard.mu.Unlock()
	return s.guard.restarted
}
