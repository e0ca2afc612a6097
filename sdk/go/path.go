package tidegate

import (
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
)

// segment is one step of a path: a member of an object, or an element of an array.
type segment struct {
	key     string
	index   uint32
	isIndex bool
}

// parsePath takes a path apart: an RFC 9535 singular query whose leading "$." may be left out, as
// "merchant.id", "items[0].sku", "['a.b'].c"; the whole record is "$".
func parsePath(text string) ([]segment, error) {
	rest := text
	var path []segment
	switch {
	case text == "":
		return nil, errors.New("it is empty; the whole record is `$`")
	case strings.HasPrefix(text, "$"):
		rest = text[1:]
	case text[0] != '[':
		rest = "." + text
	}
	for rest != "" {
		rest = strings.TrimLeft(rest, " \t\n\r")
		switch {
		case strings.HasPrefix(rest, "."):
			name, after, err := pathName(rest[1:])
			if err != nil {
				return nil, err
			}
			path, rest = append(path, segment{key: name}), after
		case strings.HasPrefix(rest, "["):
			step, after, err := pathSelector(strings.TrimLeft(rest[1:], " \t\n\r"))
			if err != nil {
				return nil, err
			}
			after = strings.TrimLeft(after, " \t\n\r")
			if !strings.HasPrefix(after, "]") {
				return nil, errors.New("`]` is missing after one name or index")
			}
			path, rest = append(path, step), after[1:]
		default:
			return nil, errors.New("a segment begins with `.` or `[`")
		}
	}
	return path, nil
}

func isNameChar(c rune) bool {
	return c >= utf8.RuneSelf || c == '_' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
}

func pathName(text string) (name, rest string, err error) {
	end := strings.IndexFunc(text, func(c rune) bool { return !isNameChar(c) })
	if end < 0 {
		end = len(text)
	}
	switch name = text[:end]; {
	case name == "" && end < len(text) && (text[0] == '*' || text[0] == '.'):
		return "", "", errors.New("it may select more than one field")
	case name == "" || name[0] >= '0' && name[0] <= '9':
		return "", "", errors.New("a name with other characters stands in brackets: `['a-b']`")
	}
	return name, text[end:], nil
}

func pathSelector(text string) (segment, string, error) {
	if text != "" && (text[0] == '\'' || text[0] == '"') {
		return pathQuoted(text[1:], text[0])
	}
	end := 0
	for end < len(text) && text[end] >= '0' && text[end] <= '9' {
		end++
	}
	digits := text[:end]
	if digits == "" && strings.HasPrefix(text, "-") {
		return segment{}, "", errors.New("an index counts from the start")
	}
	if digits == "" {
		return segment{}, "", errors.New("it must name one field: `['name']` or `[0]`")
	}
	if len(digits) > 1 && digits[0] == '0' {
		return segment{}, "", errors.New("an index has no leading zero")
	}
	index, err := strconv.ParseUint(digits, 10, 32)
	if err != nil {
		return segment{}, "", errors.New("the index is too large")
	}
	return segment{index: uint32(index), isIndex: true}, text[end:], nil
}

// pathQuoted reads a name up to its closing quote. What stands between is a JSON string but for
// the quotes, so the rare name with an escape is read as one.
func pathQuoted(text string, quote byte) (segment, string, error) {
	var name strings.Builder
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c == quote {
			return segment{key: name.String()}, text[i+1:], nil
		}
		if c < ' ' {
			return segment{}, "", errors.New("a name contains a control character")
		}
		if c != '\\' {
			name.WriteByte(c)
			continue
		}
		decoded, size, err := pathEscape(text[i:], quote)
		if err != nil {
			return segment{}, "", err
		}
		name.WriteString(decoded)
		i += size - 1
	}
	return segment{}, "", errors.New("a quote is not closed")
}

func pathEscape(text string, quote byte) (decoded string, size int, err error) {
	unknown := errors.New("a name contains an unknown escape")
	if len(text) < 2 {
		return "", 0, errors.New("a quote is not closed")
	}
	if text[1] == quote {
		return string(quote), 2, nil
	}
	switch text[1] {
	case '/', '\\':
		return text[1:2], 2, nil
	case 'b':
		return "\b", 2, nil
	case 'f':
		return "\f", 2, nil
	case 'n':
		return "\n", 2, nil
	case 'r':
		return "\r", 2, nil
	case 't':
		return "\t", 2, nil
	case 'u':
	default:
		return "", 0, unknown
	}
	half := func(at int) (rune, bool) {
		if len(text) < at+6 || text[at] != '\\' || text[at+1] != 'u' {
			return 0, false
		}
		code, err := strconv.ParseUint(text[at+2:at+6], 16, 32)
		return rune(code), err == nil
	}
	code, ok := half(0)
	if !ok {
		return "", 0, unknown
	}
	if code < 0xd800 || code >= 0xe000 {
		return string(code), 6, nil
	}
	low, ok := half(6)
	if !ok || code >= 0xdc00 || low < 0xdc00 || low >= 0xe000 {
		return "", 0, errors.New("a name contains half a surrogate pair")
	}
	return string(0x10000 + (code-0xd800)<<10 + (low - 0xdc00)), 12, nil
}
