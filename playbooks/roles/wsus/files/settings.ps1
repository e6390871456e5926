# Brings the settings of WSUS to what was asked for: languages, classifications, products, groups of computers.
param([string[]]$Languages, [string[]]$Classifications, [string[]]$Products, [string[]]$Groups, [bool]$ClientTargeting)
$changed = $false
$server = Get-WsusServer
$configuration = $server.GetConfiguration()
$mode = if ($ClientTargeting) { 'Client' } else { 'Server' }
$spoken = @($configuration.GetEnabledUpdateLanguages() | Sort-Object) -join ' '
$wanted = @($Languages | Sort-Object) -join ' '
$same = -not $configuration.AllUpdateLanguagesEnabled -and $spoken -eq $wanted -and
    "$($configuration.TargetingMode)" -eq $mode -and $configuration.OobeInitialized
if (-not $same) {
    $changed = $true
    $configuration.AllUpdateLanguagesEnabled = $false
    $chosen = New-Object -TypeName System.Collections.Specialized.StringCollection
    $chosen.AddRange($Languages)
    $configuration.SetEnabledUpdateLanguages($chosen)
    $configuration.TargetingMode = $mode
    # The console would ask all this once more.
    $configuration.OobeInitialized = $true
    $configuration.Save()
}

$subscription = $server.GetSubscription()
$found = @($subscription.GetUpdateClassifications() | ForEach-Object { "$($_.Id)" } | Sort-Object) -join ' '
if ($found -ne (@($Classifications | Sort-Object) -join ' ')) {
    $changed = $true
    $list = New-Object -TypeName Microsoft.UpdateServices.Administration.UpdateClassificationCollection
    foreach ($one in $server.GetUpdateClassifications()) {
        if ($Classifications -contains "$($one.Id)") { $list.Add($one) | Out-Null }
    }
    if ($list.Count -ne $Classifications.Count) {
        throw "the server knows $($list.Count) of the $($Classifications.Count) classifications that are wanted"
    }
    $subscription.SetUpdateClassifications($list)
    $subscription.Save()
}

if ($Products.Count) {
    $known = @($server.GetUpdateCategories())
    $missing = @($Products | Where-Object { $known.Title -notcontains $_ })
    if ($missing.Count) {
        throw "no product $($missing -join ', ') in the catalogue: synchronise it once, which takes the Internet"
    }
    $found = @($subscription.GetUpdateCategories() | ForEach-Object { $_.Title } | Sort-Object) -join '|'
    if ($found -ne (@($Products | Sort-Object) -join '|')) {
        $changed = $true
        $list = New-Object -TypeName Microsoft.UpdateServices.Administration.UpdateCategoryCollection
        foreach ($one in $known) {
            if ($Products -contains $one.Title) { $list.Add($one) | Out-Null }
        }
        $subscription.SetUpdateCategories($list)
        $subscription.Save()
    }
}

$names = @($server.GetComputerTargetGroups() | ForEach-Object { $_.Name })
foreach ($group in $Groups) {
    if ($names -notcontains $group) {
        $changed = $true
        $server.CreateComputerTargetGroup($group) | Out-Null
    }
}
$Ansible.Changed = $changed
