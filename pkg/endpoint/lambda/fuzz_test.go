package lambda

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/errcode"
)

// FuzzReadAnswer has a function answer anything: it is refused with the code for that, or is a response whose body can be
// read. A body that is not compressed is never longer than the answer.
func FuzzReadAnswer(f *testing.F) {
	encoder, err := zstd.NewWriter(nil)
	require.NoError(f, err)
	for _, seed := range []string{
		`{"statusCode": 200, "headers": {"content-type": "application/restate"}, "body": "AAEC", "isBase64Encoded": true}`,
		`{"statusCode": 200, "headers": {"content-encoding": "zstd"}, "body": "AAEC", "isBase64Encoded": true}`,
		`{"statusCode": 500, "body": "näh"}`, `{"statusCode": 99}`, `{"statusCode": 200, "body": "A", "isBase64Encoded": true}`, `[]`,
		`{"statusCode": 200, "headers": {"Content-Encoding": "zstd"}, "body": "` +
			base64.StdEncoding.EncodeToString(encoder.EncodeAll(make([]byte, 1<<20), nil)) + `", "isBase64Encoded": true}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		response, err := readAnswer(&http.Request{}, payload)
		if err != nil {
			require.Equal(t, errcode.ProtocolViolated, errcode.Of(err, ""), "%v", err)
			return
		}
		require.GreaterOrEqual(t, response.StatusCode, 100)
		require.LessOrEqual(t, response.StatusCode, 999)
		// However much a few bytes stand for, it is made as it is read.
		read, err := io.Copy(io.Discard, io.LimitReader(response.Body, 4<<20))
		if !response.Uncompressed {
			require.NoError(t, err)
			require.Equal(t, response.ContentLength, read)
			require.LessOrEqual(t, read, int64(3*len(payload)), "what is no text is three bytes of one")
		}
		require.NoError(t, response.Body.Close())
	})
}

// FuzzAnswer has a function answer with any body, compressed or not. It arrives as it is.
func FuzzAnswer(f *testing.F) {
	encoder, err := zstd.NewWriter(nil)
	require.NoError(f, err)
	f.Add([]byte("frames"), false)
	f.Add([]byte("frames"), true)
	f.Add(bytes.Repeat([]byte("x"), 100_000), true)
	f.Fuzz(func(t *testing.T, body []byte, compressed bool) {
		given := answer{Status: 200, Headers: map[string]string{"x": "y"}, Encoded: true}
		if compressed {
			given.Headers[contentEncoding] = Zstd
			given.Body = base64.StdEncoding.EncodeToString(encoder.EncodeAll(body, nil))
		} else {
			given.Body = base64.StdEncoding.EncodeToString(body)
		}
		payload, err := json.Marshal(given)
		require.NoError(t, err)
		response, err := readAnswer(&http.Request{}, payload)
		require.NoError(t, err)
		require.Equal(t, http.Header{"X": {"y"}}, response.Header)
		arrived, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.True(t, bytes.Equal(body, arrived))
	})
}
