"""Head models: meshes with identity, expression shapes and joints."""
