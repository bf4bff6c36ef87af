package partition

import "context"

// Trim does what RunTrimmer does now and then.
func (p *Processor) Trim(ctx context.Context) error { return p.trim(ctx) }
