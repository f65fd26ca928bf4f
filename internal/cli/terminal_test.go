package cli

import "testing"

func TestIsUTF8(t *testing.T) {
	for _, test := range []struct {
		all, ctype, lang string
		want             bool
	}{
		{"", "", "", false}, {"C", "", "en_US.UTF-8", false}, {"", "", "en_US.UTF-8", true}, {"", "C.utf8", "C", true},
		{"", "POSIX", "de_DE.UTF-8", false}, {"de_DE.utf8@euro", "", "", true}, {"de_DE.ISO-8859-15", "", "", false},
		{"de_DE", "", "", false},
	} {
		t.Setenv("LC_ALL", test.all)
		t.Setenv("LC_CTYPE", test.ctype)
		t.Setenv("LANG", test.lang)
		if IsUTF8() != test.want {
			t.Errorf("%+v", test)
		}
	}
}
