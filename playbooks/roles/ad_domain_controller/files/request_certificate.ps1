# Makes a key and a request for the certificate of LDAPS, once, and returns the request.
param([string]$Name, [string]$Folder)
$request = Join-Path -Path $Folder -ChildPath 'dc.csr'
if (-not (Test-Path -LiteralPath $request)) {
    $settings = Join-Path -Path $Folder -ChildPath 'dc.inf'
    # The provider that "Enable LDAP over SSL" of Microsoft's documentation asks for.
    $text = @(
        '[Version]', 'Signature="$Windows NT$"', '[NewRequest]', "Subject=`"CN=$Name`"", 'KeySpec=1', 'KeyLength=2048',
        'KeyUsage=0xA0', 'MachineKeySet=TRUE', 'Exportable=FALSE', 'SMIME=FALSE', 'Silent=TRUE', 'RequestType=PKCS10',
        'ProviderName="Microsoft RSA SChannel Cryptographic Provider"', 'ProviderType=12', 'HashAlgorithm=sha256',
        '[EnhancedKeyUsageExtension]', 'OID=1.3.6.1.5.5.7.3.1',
        '[Extensions]', '2.5.29.17="{text}"', "_continue_=`"dns=$Name&`""
    )
    Set-Content -LiteralPath $settings -Value $text -Encoding ascii
    $said = & certreq.exe -new -q $settings $request
    if ($LASTEXITCODE -ne 0) { throw "certreq -new: $said" }
}
$text = (Get-Content -LiteralPath $request -Raw).Replace("`r", '')
$text = $text.Replace(' NEW CERTIFICATE REQUEST', ' CERTIFICATE REQUEST')
$Ansible.Result = @{ request = $text }
