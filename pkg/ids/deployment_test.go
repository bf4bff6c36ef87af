package ids_test

import (
	"encoding/hex"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/ids"
)

// The examples were seen with restate-server 1.7.12.
func TestDeploymentIDText(t *testing.T) {
	for raw, text := range map[string]string{
		"01a2056a9c02be289ace169ec73e09fd": "dp_17HthAY8kaK0Zqwf0ubAbPH",
		"01a205560dd9c339352430e025c50c78": "dp_13EwUK0v4hPGa9whnHWMtax",
	} {
		id, err := ids.ParseDeploymentID(text)
		require.NoError(t, err)
		require.Equal(t, raw, hex.EncodeToString(id[:]))
		require.Equal(t, text, id.String())
	}
}

func TestDeploymentIDsHaveTheirTime(t *testing.T) {
	at := time.UnixMilli(0x01a2056a9c02)
	one, other := ids.NewDeploymentID(at), ids.NewDeploymentID(at)
	require.NotEqual(t, one, other)
	require.Equal(t, "01a2056a9c02", hex.EncodeToString(one[:6]))
	parsed, err := ids.ParseDeploymentID(one.String())
	require.NoError(t, err)
	require.Equal(t, one, parsed)
}

func TestParseDeploymentIDRefuses(t *testing.T) {
	for _, text := range []string{
		"", "dp_1", "dp_bogus", "dp_27HthAY8kaK0Zqwf0ubAbPH", "dp_17HthAY8kaK0Zqwf0ubAbP", "dp_17HthAY8kaK0Zqwf0ubAb-H",
		"dp_1ZZZZZZZZZZZZZZZZZZZZZZ", "inv_12dAQTumRwUU5f2U8b66UrtWhyCXISKaBj",
	} {
		_, err := ids.ParseDeploymentID(text)
		require.ErrorIs(t, err, ids.ErrInvalid, text)
	}
}

// The ids were given out: programs keep them.
func TestEndpointsHaveADeploymentID(t *testing.T) {
	for endpoint, text := range map[string]string{
		"bG9jYWxob3N0OjE5MDgwLw":     "dp_11diT09hAbuiIDzkdlJpw6o",
		"dp_17HthAY8kaK0Zqwf0ubAbPH": "dp_17HthAY8kaK0Zqwf0ubAbPH",
	} {
		require.Equal(t, text, ids.DeploymentIDOf(endpoint))
		_, err := ids.ParseDeploymentID(text)
		require.NoError(t, err)
	}
}
