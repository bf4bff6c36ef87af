package lambda

import (
	"fmt"
	"regexp"
)

var (
	functionARN = regexp.MustCompile(`^arn:aws[a-z-]*:lambda:([a-z0-9-]+):\d{12}:function:[a-zA-Z0-9_-]+:(?:\$LATEST|[a-zA-Z0-9_-]+)$`)
	unqualified = regexp.MustCompile(`^arn:aws[a-z-]*:lambda:[a-z0-9-]+:\d{12}:function:[a-zA-Z0-9_-]+:?$`)
	roleARN     = regexp.MustCompile(`^arn:aws[a-z-]*:iam::\d{12}:role/[a-zA-Z0-9+=,.@_/-]+$`)
)

// maxARN is in bytes; AWS allows fewer.
const maxARN = 2048

// CheckARN refuses what does not name a version of a function. Invocations stay with the version that they began on, so
// that one has to be said.
func CheckARN(arn string) error {
	switch {
	case len(arn) > maxARN:
		return fmt.Errorf("the arn has %d bytes, the most is %d", len(arn), maxARN)
	case unqualified.MatchString(arn):
		return fmt.Errorf("the arn %q does not say which version or alias of the function: append it, as in ...:function:NAME:1", arn)
	case !functionARN.MatchString(arn):
		return fmt.Errorf("the arn %q has to be arn:aws:lambda:REGION:ACCOUNT:function:NAME:VERSION", arn)
	}
	return nil
}

// CheckRole refuses what does not name a role.
func CheckRole(arn string) error {
	if len(arn) > maxARN || !roleARN.MatchString(arn) {
		return fmt.Errorf("the assume_role_arn %q has to be arn:aws:iam::ACCOUNT:role/NAME", cut(arn))
	}
	return nil
}

func regionOf(arn string) (string, error) {
	if err := CheckARN(arn); err != nil {
		return "", err
	}
	return functionARN.FindStringSubmatch(arn)[1], nil
}
