// Checks what heed signs by Go's own packages: golang.org/x/mod/sumdb/note and tlog.
//
//	verify KEY FOLDER
//
// FOLDER is an export of a log, with receipts in *.tlog-proof and one *.consistency beside the
// earlier *.checkpoint. It prints what it checked as JSON, or says what is wrong and ends with 1.
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Of a tile in the layout of tlog-tiles.
const height = 8

type checked struct {
	Size     int64 `json:"size"`
	Entries  int64 `json:"entries"`
	Tiles    int   `json:"tiles"`
	Receipts int   `json:"receipts"`
	Grown    int   `json:"grown"`
}

func main() {
	if len(os.Args) != 3 {
		fail(fmt.Errorf("usage: verify KEY FOLDER"))
	}
	found, err := verify(os.Args[1], os.Args[2])
	if err != nil {
		fail(err)
	}
	told, err := json.Marshal(found)
	if err != nil {
		fail(err)
	}
	fmt.Println(string(told))
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func verify(key, folder string) (checked, error) {
	var found checked
	verifier, err := note.NewVerifier(key)
	if err != nil {
		return found, err
	}
	signed, err := os.ReadFile(filepath.Join(folder, "checkpoint"))
	if err != nil {
		return found, err
	}
	tree, err := open(signed, verifier)
	if err != nil {
		return found, err
	}
	found.Size = tree.N
	if err := verifyEntries(folder, tree, &found); err != nil {
		return found, err
	}
	if err := verifyTiles(folder, tree, &found); err != nil {
		return found, err
	}
	receipts, err := filepath.Glob(filepath.Join(folder, "*.tlog-proof"))
	if err != nil {
		return found, err
	}
	for _, path := range receipts {
		if err := verifyReceipt(path, verifier); err != nil {
			return found, fmt.Errorf("%s: %w", path, err)
		}
		found.Receipts++
	}
	proofs, err := filepath.Glob(filepath.Join(folder, "*.consistency"))
	if err != nil {
		return found, err
	}
	for _, path := range proofs {
		if err := verifyGrowth(path, verifier); err != nil {
			return found, fmt.Errorf("%s: %w", path, err)
		}
		found.Grown++
	}
	return found, nil
}

// open checks a signed checkpoint and returns the tree that it names.
func open(signed []byte, verifier note.Verifier) (tlog.Tree, error) {
	opened, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) < 4 || lines[0] != verifier.Name() {
		return tlog.Tree{}, fmt.Errorf("a checkpoint of %q, not of %q", lines[0], verifier.Name())
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return tlog.Tree{}, err
	}
	root, err := hashOf(lines[2])
	return tlog.Tree{N: size, Hash: root}, err
}

// verifyEntries makes the tree from every entry and compares its root with what was signed.
func verifyEntries(folder string, tree tlog.Tree, found *checked) error {
	hashes := map[int64]tlog.Hash{}
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		read := make([]tlog.Hash, len(indexes))
		for at, index := range indexes {
			hash, there := hashes[index]
			if !there {
				return nil, fmt.Errorf("no hash %d", index)
			}
			read[at] = hash
		}
		return read, nil
	})
	for number := int64(0); number*(1<<height) < tree.N; number++ {
		width := min(tree.N-number*(1<<height), 1<<height)
		// Go's own paths have the height too, and say "data".
		path := tlog.Tile{H: height, L: -1, N: number, W: int(width)}.Path()
		path = strings.Replace(path, "tile/8/data/", "tile/entries/", 1)
		content, err := os.ReadFile(filepath.Join(folder, path))
		if err != nil {
			return err
		}
		for len(content) > 0 {
			if len(content) < 2 || len(content) < 2+int(binary.BigEndian.Uint16(content)) {
				return fmt.Errorf("%s ends within an entry", path)
			}
			size := int(binary.BigEndian.Uint16(content))
			stored, err := tlog.StoredHashes(found.Entries, content[2:2+size], reader)
			if err != nil {
				return err
			}
			first := tlog.StoredHashIndex(0, found.Entries)
			for at, hash := range stored {
				hashes[first+int64(at)] = hash
			}
			content = content[2+size:]
			found.Entries++
		}
	}
	root, err := tlog.TreeHash(found.Entries, reader)
	if err != nil {
		return err
	}
	if found.Entries != tree.N || root != tree.Hash {
		return fmt.Errorf("%d entries give another root than the checkpoint's", found.Entries)
	}
	return nil
}

// verifyTiles reads every leaf by Go's reader of tiles, which holds each tile to the signed root.
func verifyTiles(folder string, tree tlog.Tree, found *checked) error {
	tiles := &tileFolder{path: folder}
	reader := tlog.TileHashReader(tree, tiles)
	for index := int64(0); index < tree.N; index++ {
		if _, err := reader.ReadHashes([]int64{tlog.StoredHashIndex(0, index)}); err != nil {
			return err
		}
	}
	found.Tiles = tiles.read
	return nil
}

type tileFolder struct {
	path string
	read int
}

func (folder *tileFolder) Height() int { return height }

func (folder *tileFolder) SaveTiles([]tlog.Tile, [][]byte) {}

func (folder *tileFolder) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	contents := make([][]byte, len(tiles))
	for at, tile := range tiles {
		path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
		content, err := os.ReadFile(filepath.Join(folder.path, path))
		if err != nil {
			return nil, err
		}
		contents[at] = content
		folder.read++
	}
	return contents, nil
}

// verifyReceipt checks a tlog-proof, whose `extra` line holds the entry.
func verifyReceipt(path string, verifier note.Verifier) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	head, signed, there := bytes.Cut(content, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	if !there || len(lines) < 3 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return fmt.Errorf("no tlog-proof")
	}
	said, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra "))
	if err != nil {
		return err
	}
	var extra struct {
		Entry []byte `json:"entry"`
	}
	if err := json.Unmarshal(said, &extra); err != nil {
		return err
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[2], "index "), 10, 64)
	if err != nil {
		return err
	}
	tree, err := open(signed, verifier)
	if err != nil {
		return err
	}
	proof, err := hashesOf(lines[3:])
	if err != nil {
		return err
	}
	return tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(extra.Entry))
}

// verifyGrowth checks that a log begins with what it was: NAME.consistency, NAME.checkpoint.
func verifyGrowth(path string, verifier note.Verifier) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, err := os.ReadFile(strings.TrimSuffix(path, ".consistency") + ".checkpoint")
	if err != nil {
		return err
	}
	head, signed, _ := bytes.Cut(content, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	if len(lines) < 2 || lines[0] != "heed.dev/tlog-consistency@v1" {
		return fmt.Errorf("no consistency proof")
	}
	old, err := open(before, verifier)
	if err != nil {
		return err
	}
	tree, err := open(signed, verifier)
	if err != nil {
		return err
	}
	proof, err := hashesOf(lines[2:])
	if err != nil {
		return err
	}
	return tlog.CheckTree(proof, tree.N, tree.Hash, old.N, old.Hash)
}

func hashesOf(lines []string) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, 0, len(lines))
	for _, line := range lines {
		hash, err := hashOf(line)
		if err != nil {
			return nil, err
		}
		hashes = append(hashes, hash)
	}
	return hashes, nil
}

func hashOf(said string) (tlog.Hash, error) {
	var hash tlog.Hash
	content, err := base64.StdEncoding.DecodeString(said)
	if err == nil && len(content) != tlog.HashSize {
		err = fmt.Errorf("a hash of %d bytes", len(content))
	}
	copy(hash[:], content)
	return hash, err
}
