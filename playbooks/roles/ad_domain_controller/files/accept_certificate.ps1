# Puts the certificate beside its key, where the directory finds it, and makes the directory take it at once.
param([string]$Path)
$certificate = New-Object -TypeName Security.Cryptography.X509Certificates.X509Certificate2 -ArgumentList $Path
$there = Get-ChildItem -Path Cert:\LocalMachine\My |
    Where-Object { $_.Thumbprint -eq $certificate.Thumbprint -and $_.HasPrivateKey }
$Ansible.Changed = -not $there
if (-not $there) {
    $said = & certreq.exe -accept -machine -q $Path
    if ($LASTEXITCODE -ne 0) { throw "certreq -accept: $said" }
    $root = New-Object -TypeName DirectoryServices.DirectoryEntry -ArgumentList 'LDAP://localhost/RootDSE'
    $root.Put('renewServerCertificate', 1)
    $root.SetInfo()
}
