package rocks

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/linxGnu/grocksdb"

	"github.com/restate-go/restate/pkg/storage/kv"
)

// ErrNoDatabase means that there is no database in the directory, or not all of it yet.
var ErrNoDatabase = errors.New("there is no database yet")

// ErrMoved means that the writer of the database dropped a part of its log, or was replaced, while the database was opened.
// It may be tried again at once.
var ErrMoved = errors.New("the writer of the database moved on meanwhile")

// Secondary reads a database that another process, or this one, has open for writing. It takes no lock and changes
// nothing, so the one that writes does not notice. What it shows is a state of the past until CatchUp.
//
// It keeps the files of that state open: their space on the disk is not free before Close, though the one that writes has
// deleted them.
type Secondary struct {
	store *Store
	dir   string
	// files tells whether the tables are still those that were opened.
	files files
}

// OpenSecondary opens the database in dir, which has the number of partitions given, as it is now. logDir is where
// RocksDB puts a log of its own about this instance; it is created. The error wraps ErrNoDatabase where the database has
// not been created, or not with all its partitions, and ErrMoved where it has to be tried again.
func OpenSecondary(dir, logDir string, partitions uint32, o Options) (*Secondary, error) {
	before, err := filesIn(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open %s: %w", dir, ErrNoDatabase)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", dir, err)
	}
	if err := os.MkdirAll(logDir, 0o750); err != nil {
		return nil, fmt.Errorf("make the directory for the log of the database: %w", err)
	}
	s := newStore(o)
	// Files that the writer deletes can be read only through descriptors that are open.
	s.options.SetMaxOpenFiles(-1)
	s.options.SetInfoLogLevel(grocksdb.ErrorInfoLogLevel)
	opening := s.openSecondary(dir, logDir, families(partitions))
	after, err := filesIn(dir)
	switch {
	case opening != nil:
		s.free()
		if err != nil || !after.same(before) {
			return nil, fmt.Errorf("%w: %w", ErrMoved, opening)
		}
		return nil, opening
	case err != nil || !after.follows(before):
		// RocksDB reads first which tables there are, then the log. What went from the log to a table in between, and was
		// dropped from the log, is missing.
		return nil, errors.Join(fmt.Errorf("open %s: %w", dir, ErrMoved), s.Close())
	}
	return &Secondary{store: s, dir: dir, files: before}, nil
}

func (s *Store) openSecondary(dir, logDir string, names []string) error {
	if err := s.checkFamilies(dir, names); err != nil {
		return err
	}
	options := make([]*grocksdb.Options, len(names))
	for i := range options {
		options[i] = s.options
	}
	db, handles, err := grocksdb.OpenDbAsSecondaryColumnFamilies(s.options, dir, logDir, names, options)
	if err != nil {
		return fmt.Errorf("open %s beside its writer: %w", dir, err)
	}
	s.attach(db, handles)
	return nil
}

func (s *Store) checkFamilies(dir string, wanted []string) error {
	found, err := grocksdb.ListColumnFamilies(s.options, dir)
	if err != nil {
		return fmt.Errorf("list the partitions of %s: %w", dir, err)
	}
	if len(found) > len(wanted) {
		return fmt.Errorf("open %s: it has %d partitions, not %d", dir, len(found)-1, len(wanted)-1)
	}
	for _, name := range wanted {
		if !slices.Contains(found, name) {
			return fmt.Errorf("open %s: %w: its partition %s is missing", dir, ErrNoDatabase, name)
		}
	}
	return nil
}

// files is which files a database is made of.
type files struct {
	// Another database has another identity, each writer begins a manifest, and every change of the tables is appended to
	// that before anything is dropped from the log.
	database, manifest string
	manifestSize       int64
	// log has the names of the files of the log.
	log []string
}

// logSuffix ends the names of files of the log.
const logSuffix = ".log"

func filesIn(dir string) (files, error) {
	identity, err := os.ReadFile(filepath.Join(dir, "IDENTITY"))
	if err != nil {
		return files{}, err
	}
	current, err := os.ReadFile(filepath.Join(dir, "CURRENT"))
	if err != nil {
		return files{}, err
	}
	f := files{database: string(identity), manifest: strings.TrimSpace(string(current))}
	manifest, err := os.Stat(filepath.Join(dir, filepath.Base(f.manifest)))
	if err != nil {
		return files{}, err
	}
	f.manifestSize = manifest.Size()
	entries, err := os.ReadDir(dir)
	if err != nil {
		return files{}, err
	}
	for _, entry := range entries {
		if strings.HasSuffix(entry.Name(), logSuffix) {
			f.log = append(f.log, entry.Name())
		}
	}
	return f, nil
}

// same says whether database, writer and tables are the same.
func (f files) same(earlier files) bool {
	return f.database == earlier.database && f.manifest == earlier.manifest && f.manifestSize == earlier.manifestSize
}

// follows says whether database and writer are the same, and nothing was dropped from the log.
func (f files) follows(earlier files) bool {
	return f.database == earlier.database && f.manifest == earlier.manifest &&
		!slices.ContainsFunc(earlier.log, func(name string) bool { return !slices.Contains(f.log, name) })
}

func (s *Secondary) moved() bool {
	now, err := filesIn(s.dir)
	return err != nil || !now.same(s.files)
}

// CatchUp makes everything visible that was written before the call, and returns true. After false, or an error, what is
// visible is in no order, and the database has to be opened again: the writer has written tables. It may be called while
// others read: iterators go on with what they began with. Calls must not overlap.
func (s *Secondary) CatchUp() (bool, error) {
	// RocksDB would take over new tables, too, but leaves what it has read of the log before those in memory. There it
	// hides what the tables have: deleted rows come back.
	if s.moved() {
		return false, nil
	}
	if err := s.store.db.TryCatchUpWithPrimary(); err != nil {
		return false, fmt.Errorf("catch up with the writer of the database: %w", err)
	}
	return !s.moved(), nil
}

// Partitions returns what there is to read, by partition. It must not be used after Close.
func (s *Secondary) Partitions() []kv.Reader {
	readers := make([]kv.Reader, len(s.store.spaces))
	for i, space := range s.store.spaces {
		readers[i] = space
	}
	return readers
}

// Close lets go of the database. No iterator may be open.
func (s *Secondary) Close() error { return s.store.Close() }
