package vocabulary

import (
	"fmt"
	"strconv"
	"strings"
)

// dnsTypes are types of DNS that are asked for, by their numbers at IANA.
var dnsTypes = map[string]uint16{
	"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "NULL": 10, "PTR": 12, "HINFO": 13, "MX": 15, "TXT": 16, "RP": 17, "AFSDB": 18,
	"SIG": 24, "KEY": 25, "AAAA": 28, "LOC": 29, "SRV": 33, "NAPTR": 35, "KX": 36, "CERT": 37, "DNAME": 39, "APL": 42, "DS": 43,
	"SSHFP": 44, "IPSECKEY": 45, "RRSIG": 46, "NSEC": 47, "DNSKEY": 48, "DHCID": 49, "NSEC3": 50, "NSEC3PARAM": 51, "TLSA": 52,
	"SMIMEA": 53, "HIP": 55, "CDS": 59, "CDNSKEY": 60, "OPENPGPKEY": 61, "CSYNC": 62, "ZONEMD": 63, "SVCB": 64, "HTTPS": 65,
	"SPF": 99, "EUI48": 108, "EUI64": 109, "TKEY": 249, "TSIG": 250, "IXFR": 251, "AXFR": 252, "ANY": 255, "URI": 256, "CAA": 257,
	"DLV": 32769,
}

// ParseDNSType reads a type's name, its number, or TYPE65 (RFC 3597).
func ParseDNSType(text string) (uint16, error) {
	upper := strings.ToUpper(text)
	if n, ok := dnsTypes[upper]; ok {
		return n, nil
	}
	n, err := strconv.ParseUint(strings.TrimPrefix(upper, "TYPE"), 10, 16)
	if err != nil {
		return 0, fmt.Errorf("%q is no type of DNS: use a name like A, AAAA, MX or HTTPS, or a number from 0 to 65535", text)
	}
	return uint16(n), nil
}

// DNSTypeName is a type's name where it has one here, or its number.
func DNSTypeName(n uint16) string {
	for name, number := range dnsTypes {
		if number == n {
			return name
		}
	}
	return strconv.Itoa(int(n))
}
