// Package pages has the pages of results looked at in a browser: in light and in dark, on a desktop and on a phone,
// with axe-core, whose serious findings fail. `make pages-check` gives it the pages, the browser and axe-core.
package pages
