// Check judges a log by golang.org/x/mod/sumdb alone: none of our code, none of our formats.
//
//	check LOG_DIRECTORY VKEY [OLD_CHECKPOINT]
//
// It opens the signed note, derives the root from the entries, compares every full tile and the last partial one of each level, proves the
// inclusion of entries from the tiles, and, with an older checkpoint, the consistency of the two trees. Exit 0 and one line, or 1 and why.
package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8

func main() {
	if len(os.Args) < 3 {
		fail("usage: check LOG_DIRECTORY VKEY [OLD_CHECKPOINT]")
	}
	directory := os.Args[1]
	verifier, err := note.NewVerifier(os.Args[2])
	demand(err, "verifier key")
	origin, tree := open(filepath.Join(directory, "checkpoint"), verifier)

	stored := entries(directory, tree.N)
	root, err := tlog.TreeHash(tree.N, stored)
	demand(err, "root")
	if root != tree.Hash {
		fail("the entries give root %v, signed is %v", root, tree.Hash)
	}

	tiles := 0
	for _, tile := range tlog.NewTiles(height, 0, tree.N) {
		last := tree.N >> (height * uint(tile.L))
		if tile.W < 1<<height && tile.N<<height+int64(tile.W) != last {
			continue // a partial tile of some earlier size
		}
		want, err := tlog.ReadTileData(tile, stored)
		demand(err, "tile")
		got, err := os.ReadFile(filepath.Join(directory, name(tile)))
		demand(err, "tile")
		if string(got) != string(want) {
			fail("%s does not hold the hashes of the entries", name(tile))
		}
		tiles++
	}

	reader := tlog.TileHashReader(tree, files(directory))
	step := tree.N/200 + 1
	for index := int64(0); index < tree.N; index += step {
		proof, err := tlog.ProveRecord(tree.N, index, reader)
		demand(err, "inclusion proof")
		demand(tlog.CheckRecord(proof, tree.N, tree.Hash, index, stored.leaves[index]), fmt.Sprintf("inclusion of entry %d", index))
	}

	if len(os.Args) > 3 {
		oldOrigin, old := open(os.Args[3], verifier)
		if oldOrigin != origin {
			fail("the older checkpoint is of %s", oldOrigin)
		}
		if old.N > tree.N {
			fail("the log shrank from %d to %d", old.N, tree.N)
		}
		if old.N == tree.N && old.Hash != tree.Hash {
			fail("two roots for size %d", tree.N)
		}
		if old.N < tree.N {
			proof, err := tlog.ProveTree(tree.N, old.N, reader)
			demand(err, "consistency proof")
			demand(tlog.CheckTree(proof, tree.N, tree.Hash, old.N, old.Hash), "consistency")
		}
	}
	fmt.Printf("%s %d %v %d tiles\n", origin, tree.N, tree.Hash, tiles)
}

// open gives origin and tree of a checkpoint that the log's own key signed.
func open(path string, verifier note.Verifier) (string, tlog.Tree) {
	raw, err := os.ReadFile(path)
	demand(err, "checkpoint")
	opened, err := note.Open(raw, note.VerifierList(verifier))
	demand(err, "checkpoint")
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[3] != "" || lines[0] != verifier.Name() {
		fail("%s is not a checkpoint of %s", path, verifier.Name())
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	demand(err, "checkpoint size")
	root, err := tlog.ParseHash(lines[2])
	demand(err, "checkpoint root")
	return lines[0], tlog.Tree{N: size, Hash: root}
}

type storedHashes struct {
	hashes []tlog.Hash
	leaves []tlog.Hash
}

func (s *storedHashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		if index >= int64(len(s.hashes)) {
			return nil, fmt.Errorf("hash %d is not there", index)
		}
		out[i] = s.hashes[index]
	}
	return out, nil
}

// entries reads every bundle, strictly, and hashes what is in it.
func entries(directory string, size int64) *storedHashes {
	stored := &storedHashes{}
	for first := int64(0); first < size; first += 1 << height {
		count := size - first
		if count > 1<<height {
			count = 1 << height
		}
		tile := tlog.Tile{H: height, L: -1, N: first >> height, W: int(count)}
		bundle, err := os.ReadFile(filepath.Join(directory, name(tile)))
		demand(err, "bundle")
		for index := first; index < first+count; index++ {
			if len(bundle) < 2 || len(bundle) < 2+int(binary.BigEndian.Uint16(bundle)) {
				fail("%s ends within entry %d", name(tile), index)
			}
			length := int(binary.BigEndian.Uint16(bundle))
			entry := bundle[2 : 2+length]
			bundle = bundle[2+length:]
			more, err := tlog.StoredHashes(index, entry, stored)
			demand(err, "hashes")
			stored.hashes = append(stored.hashes, more...)
			stored.leaves = append(stored.leaves, tlog.RecordHash(entry))
		}
		if len(bundle) != 0 {
			fail("%s holds %d stray bytes", name(tile), len(bundle))
		}
	}
	return stored
}

// files reads tiles. x/mod's path holds the height (tile/8/0/000), C2SP's does not.
type files string

func (files) Height() int                     { return height }
func (files) SaveTiles([]tlog.Tile, [][]byte) {}
func (f files) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	out := make([][]byte, len(tiles))
	for i, tile := range tiles {
		data, err := os.ReadFile(filepath.Join(string(f), name(tile)))
		if os.IsNotExist(err) {
			tile.W = 1 << height
			data, err = os.ReadFile(filepath.Join(string(f), name(tile)))
		}
		if err != nil {
			return nil, err
		}
		out[i] = data[:tiles[i].W*tlog.HashSize]
	}
	return out, nil
}

func name(tile tlog.Tile) string {
	path := strings.Replace(tile.Path(), fmt.Sprintf("tile/%d/", height), "tile/", 1)
	return strings.Replace(path, "tile/data/", "tile/entries/", 1)
}

func demand(err error, what string) {
	if err != nil {
		fail("%s: %v", what, err)
	}
}

func fail(format string, arguments ...any) {
	fmt.Printf(format+"\n", arguments...)
	os.Exit(1)
}
