package source

// Variables that tell a build to unpack the function's source, whose parts are
// files of PartsFolder that sort in their order.
const (
	// FormVariable is how the source is packed (Form).
	FormVariable = "FUNC_SOURCE_FORM"
	// ChecksumVariable is sha256: and the digest of all parts.
	ChecksumVariable = "FUNC_SOURCE_CHECKSUM"
	// MainVariable is the file that it must have.
	MainVariable = "FUNC_SOURCE_MAIN"
	// PartsFolder is where the parts are.
	PartsFolder = "/parts"
)

// MaxArchive is how many bytes all parts have together at most.
const MaxArchive = 32_000_000
