package tidegate

import (
	little "encoding/binary"
	"fmt"
	"math"
	"reflect"
	"unsafe"
)

// codec says how a type stands in the bytes of a state: its fields one after the other, numbers
// little-endian, lengths as uint32, a bool before what may be absent, with nothing to say which is
// which. It is the same in every SDK, so a plugin that is written again in another language goes on
// with its states.
type codec struct {
	encode func(at unsafe.Pointer, bytes []byte) []byte
	decode func(at unsafe.Pointer, bytes []byte) (rest []byte, ok bool)
}

// codecOf makes the codec of a struct of numbers, bool, string, pointers (which may be nil), slices,
// arrays and such structs. It is made once, so that no type is looked at for each state.
func codecOf(of reflect.Type) *codec {
	switch of.Kind() {
	case reflect.Bool:
		return &codec{
			func(at unsafe.Pointer, bytes []byte) []byte { return append(bytes, byteOf(*(*bool)(at))) },
			func(at unsafe.Pointer, bytes []byte) ([]byte, bool) {
				if len(bytes) == 0 || bytes[0] > 1 {
					return nil, false
				}
				*(*bool)(at) = bytes[0] == 1
				return bytes[1:], true
			},
		}
	case reflect.Int8, reflect.Uint8:
		return numberCodec(1, func(b []byte, v uint8) []byte { return append(b, v) }, func(b []byte) uint8 { return b[0] })
	case reflect.Int16, reflect.Uint16:
		return numberCodec(2, little.LittleEndian.AppendUint16, little.LittleEndian.Uint16)
	case reflect.Int32, reflect.Uint32, reflect.Float32:
		return numberCodec(4, little.LittleEndian.AppendUint32, little.LittleEndian.Uint32)
	case reflect.Int64, reflect.Uint64, reflect.Float64:
		return numberCodec(8, little.LittleEndian.AppendUint64, little.LittleEndian.Uint64)
	case reflect.String:
		return &codec{
			func(at unsafe.Pointer, bytes []byte) []byte {
				text := *(*string)(at)
				return append(little.LittleEndian.AppendUint32(bytes, lengthOf(len(text))), text...)
			},
			func(at unsafe.Pointer, bytes []byte) ([]byte, bool) {
				length, rest, ok := takeLength(bytes)
				if !ok || length > len(rest) {
					return nil, false
				}
				*(*string)(at) = string(rest[:length])
				return rest[length:], true
			},
		}
	case reflect.Pointer:
		return pointerCodec(of.Elem())
	case reflect.Slice:
		return sliceCodec(of)
	case reflect.Array:
		return fieldsCodec(arrayFields(of))
	case reflect.Struct:
		return fieldsCodec(structFields(of))
	}
	panic(fmt.Sprintf("%s can't be kept as a state: a state is a struct of numbers of fixed width, bool, string, "+
		"pointers, slices, arrays and such structs", of))
}

func numberCodec[T any](width int, put func([]byte, T) []byte, get func([]byte) T) *codec {
	return &codec{
		func(at unsafe.Pointer, bytes []byte) []byte { return put(bytes, *(*T)(at)) },
		func(at unsafe.Pointer, bytes []byte) ([]byte, bool) {
			if len(bytes) < width {
				return nil, false
			}
			*(*T)(at) = get(bytes)
			return bytes[width:], true
		},
	}
}

type stateField struct {
	offset uintptr
	codec  *codec
}

func structFields(of reflect.Type) []stateField {
	var fields []stateField
	for i := range of.NumField() {
		field := of.Field(i)
		fields = append(fields, stateField{field.Offset, codecOf(field.Type)})
	}
	return fields
}

func arrayFields(of reflect.Type) []stateField {
	var fields []stateField
	element := codecOf(of.Elem())
	for i := range of.Len() {
		fields = append(fields, stateField{uintptr(i) * of.Elem().Size(), element})
	}
	return fields
}

func fieldsCodec(fields []stateField) *codec {
	return &codec{
		func(at unsafe.Pointer, bytes []byte) []byte {
			for _, field := range fields {
				bytes = field.codec.encode(unsafe.Add(at, field.offset), bytes)
			}
			return bytes
		},
		func(at unsafe.Pointer, bytes []byte) ([]byte, bool) {
			ok := true
			for _, field := range fields {
				if bytes, ok = field.codec.decode(unsafe.Add(at, field.offset), bytes); !ok {
					return nil, false
				}
			}
			return bytes, true
		},
	}
}

func pointerCodec(of reflect.Type) *codec {
	element := codecOf(of)
	return &codec{
		func(at unsafe.Pointer, bytes []byte) []byte {
			value := *(*unsafe.Pointer)(at)
			bytes = append(bytes, byteOf(value != nil))
			if value != nil {
				bytes = element.encode(value, bytes)
			}
			return bytes
		},
		func(at unsafe.Pointer, bytes []byte) ([]byte, bool) {
			if len(bytes) == 0 || bytes[0] > 1 {
				return nil, false
			}
			if bytes[0] == 0 {
				return bytes[1:], true
			}
			value := reflect.New(of)
			*(*unsafe.Pointer)(at) = value.UnsafePointer()
			return element.decode(value.UnsafePointer(), bytes[1:])
		},
	}
}

func sliceCodec(of reflect.Type) *codec {
	element := codecOf(of.Elem())
	size := of.Elem().Size()
	return &codec{
		func(at unsafe.Pointer, bytes []byte) []byte {
			length := reflect.NewAt(of, at).Elem().Len()
			first := reflect.NewAt(of, at).Elem().UnsafePointer()
			bytes = little.LittleEndian.AppendUint32(bytes, lengthOf(length))
			for i := range length {
				bytes = element.encode(unsafe.Add(first, uintptr(i)*size), bytes)
			}
			return bytes
		},
		func(at unsafe.Pointer, bytes []byte) ([]byte, bool) {
			length, rest, ok := takeLength(bytes)
			slice := reflect.NewAt(of, at).Elem()
			// Grown as it is read: a length is not believed before its values are there.
			for range length {
				if !ok {
					return nil, false
				}
				one := reflect.New(of.Elem())
				rest, ok = element.decode(one.UnsafePointer(), rest)
				slice.Set(reflect.Append(slice, one.Elem()))
			}
			return rest, ok
		},
	}
}

func takeLength(bytes []byte) (length int, rest []byte, ok bool) {
	if len(bytes) < 4 {
		return 0, nil, false
	}
	return int(little.LittleEndian.Uint32(bytes)), bytes[4:], true
}

func lengthOf(length int) uint32 {
	if length > math.MaxUint32 {
		panic("a state is far below 4 GiB")
	}
	return uint32(length)
}

func byteOf(value bool) byte {
	if value {
		return 1
	}
	return 0
}
